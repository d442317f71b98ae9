"""How strong the tests of `stream/core` are: `make mutants` changes one place of it and sees whether a test fails.

A mutant is the code with one such change: `<` for `<=`, 65 for 64, a statement left out. One that no test notices has
survived, and stands for a defect that no test would notice either. Cosmic Ray makes the mutants; this package chooses
which, runs the tests, and prints the survivors.

Cosmic Ray because it is maintained, changes constants of modules and tables of classes too, where half of our rules
stand (mutmut 3 changes functions only), and gives each change as a function of the source, so that a sample is drawn by
a seed and a copy of the code is changed instead of the code.

A survivor is one of three things: a rule without a test, which gets one; code that nothing needs, which goes; or a
change that makes no difference, which `equivalent.toml` lists with the reason.
"""
