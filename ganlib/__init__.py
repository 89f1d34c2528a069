"""The thin package behind the GAN course: a notebook writes a thing out before it imports it from here."""

__version__ = "0.1.0"
