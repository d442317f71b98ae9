"""Inputs: how the bytes of a message become events. Pure, as the core is, but for `files`, which opens them."""
