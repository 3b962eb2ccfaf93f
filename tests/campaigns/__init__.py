"""Attacks on what is promised: each campaign is a program that says how many points it tried and how many broke.

The suite runs a short form of each; `make faults`, `make chaos` and so on run them long.
"""
