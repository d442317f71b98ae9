"""The tests, folder by folder as stream/."""
