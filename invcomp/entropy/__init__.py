"""Entropy coding: from integers to the bytes of a payload.

`model` has the interfaces. An `EntropyModel` codes, by integers alone; its `Density` has bits
between integers. `mixture`, with its `tables` and the range `coder`, is the model of today's
bundles. These four know no torch; `density` and `calibration`, which fits the mixture, do.
"""
