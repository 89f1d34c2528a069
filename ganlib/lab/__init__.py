"""The lab: a GAN trained live under the reader's hands. `run` plays and measures, `widget` shows."""

from ganlib.lab.widget import Lab as Lab
