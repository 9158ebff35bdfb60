"""StyleGAN2 (Karras et al., 2020) by adapters over networks that others have written.

| module | what it is |
| --- | --- |
| `styles` | what both adapters share: style mixing, and the lazy path-length regulariser |
| `lucidrains` | the backbone `stylegan2`, over the package `stylegan2-pytorch` |
| `lucidrains_package` | how that package is loaded without a GPU |
| `nvlabs` | the backbone `nvlabs`, over a module that the user names, e.g. NVlabs' own |
| `nvlabs_module` | how that module is found and called |
"""
