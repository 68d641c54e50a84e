"""Low-bit variants of networks: binary, ternary and k-bit."""
