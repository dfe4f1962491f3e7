"""Tulou: raw business data in, a measured, served, self-improving assistant out."""

__version__ = "0.1.0"
