"""The lab: a GAN trained live under the reader's hands. `run` plays and measures, `widget` shows."""


def __getattr__(name: str):
    """`Lab`, imported when it is asked for, so that `ganlib.lab.run` needs no widget."""
    if name == "Lab":
        from ganlib.lab.widget import Lab

        return Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
