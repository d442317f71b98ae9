"""The peers: one small job done by other stream processors, each in a process of its own, to compare ours with."""
