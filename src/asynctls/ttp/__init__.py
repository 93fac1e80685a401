"""The trusted third party: a CA that enrols roles by one-time tokens and remembers all it did."""
