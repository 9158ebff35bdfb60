"""What corrects generated samples after training: a module each, and their sources for the host.

Discriminator rejection sampling itself is in :mod:`diagan_plugin.postprocessing.rejection`.
"""
