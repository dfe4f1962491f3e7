"""The few hot loops of cleaning, compiled by Numba, each beside a plain-Python reference that says what it computes.

A property test holds each pair equal. Small inputs take the reference: compiling costs seconds, once per machine.
"""
