"""Sphinx extension: silences sphinx-thebe, which Jupyter Book always loads.

It would put a script on every page that logs an error, and addresses of other machines; no page
here is live.
"""


def silence_thebe(app, config):
    """Take away every callback and style sheet that sphinx-thebe registered."""
    for name, listeners in app.events.listeners.items():
        kept = [one for one in listeners if not one.handler.__module__.startswith("sphinx_thebe")]
        app.events.listeners[name] = kept
    app.registry.css_files = [file for file in app.registry.css_files if "thebe" not in file[0]]


def setup(app):
    """Wait until the configuration is read: by then every extension has registered."""
    app.connect("config-inited", silence_thebe, priority=0)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
