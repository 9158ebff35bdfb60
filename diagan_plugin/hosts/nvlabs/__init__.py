"""Trainers in the style of NVlabs as hosts: StyleGAN2-ADA, StyleGAN3 and R3GAN.

`diagan nvlabs` runs the user's own checkout of one of the three. Nothing in it is edited: a handful
of attributes of its modules are replaced while it runs (:mod:`.adapter`), and at these seams the
hooks are fired. Nothing is ever put on G or D, as their trainers pickle both with all they carry.
"""
