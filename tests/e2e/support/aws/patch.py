"""How moto's methods are replaced."""

import functools


def around(owner, *names):
    """Puts a function in place of a class's methods; it is given the old one, then what that one is given."""

    def replace(function):
        for name in names:
            old = getattr(owner, name)

            def new(self, *args, old=old, **kwargs):
                return function(functools.partial(old, self), self, *args, **kwargs)

            setattr(owner, name, functools.wraps(old)(new))
        return function

    return replace


def added(owner):
    """Adds a function to a class as a method of its name."""

    def add(function):
        setattr(owner, function.__name__, function)
        return function

    return add
