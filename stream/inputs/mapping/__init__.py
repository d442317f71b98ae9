"""The format `mapped`: messages of any shape, and a table of the settings that says what is where in them."""
