"""Run configuration: StudioGAN's sections and keys, validated, from a file, a name and flags."""
