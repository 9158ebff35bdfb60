import importlib


def construct_class_by_name(*args, class_name, **keywords):
    module, _, name = class_name.rpartition(".")
    return getattr(importlib.import_module(module), name)(*args, **keywords)
