"""A soak: does everything that a worker keeps stay as large as the population that its windows know?"""
