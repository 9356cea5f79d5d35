"""A static site that shows .ivc files in a browser, without a server that decodes."""

from .site import write_site

__all__ = ["write_site"]
