"""Other libraries: networks to and from snnTorch and Norse, and their models made faster."""
