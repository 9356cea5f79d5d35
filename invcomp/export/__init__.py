"""A bundle's decoder for other programs: an ONNX network, and tables of the bitstream as JSON."""

from .folder import MANIFEST, NETWORK, TABLES, Exported, export_bundle

__all__ = ["MANIFEST", "NETWORK", "TABLES", "Exported", "export_bundle"]
