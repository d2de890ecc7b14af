"""The families of tasks, one file each: levels, rules and registration. Importing this registers them all.

A family is added by adding its file. The paper's comes first in lists of tasks, the others in the order of their names.
"""

import importlib
import pkgutil

for _name in dict.fromkeys(("door_key", *sorted(module.name for module in pkgutil.iter_modules(__path__)))):
    importlib.import_module(f"{__name__}.{_name}")
