"""PyTorch-StudioGAN as a host (github.com/POSTECH-CVLab/PyTorch-StudioGAN, Kang et al., 2023).

`diagan studiogan` runs the user's own checkout. Nothing in it is edited: a handful of attributes of
its modules are replaced while it runs (:mod:`.seams`), and at each of these seams the hooks are
fired.
"""

COMMIT = "947b35e"
"""The commit of StudioGAN that the seams were read from, and that the adapter is tested with."""
