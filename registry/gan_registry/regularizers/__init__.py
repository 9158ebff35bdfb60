"""Regularisers of the discriminator and the generator, as pure functions.

They return unweighted scalars: which λ multiplies them, and at which steps, is the caller's.
"""
