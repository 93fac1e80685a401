"""The three roles launched as processes on loopback, with a transcript: ``asynctls demo``."""

from asynctls.demo.run import run

__all__ = ["run"]
