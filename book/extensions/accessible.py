"""Sphinx extension: mends what a screen reader cannot use in the pages of the theme and of
docutils."""


def mend(app, page, template, context, doctree):
    """Name the arrows that open a list in the contents, and make references items of their list."""
    if contents := context.get("generate_toctree_html"):

        def named(*arguments, **options):
            text = str(contents(*arguments, **options))
            return text.replace("<summary>", '<summary aria-label="pages below this one">')

        context["generate_toctree_html"] = named
    if "body" in context:
        context["body"] = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')


def setup(app):
    """Wait until the theme has added its functions to the page."""
    app.connect("html-page-context", mend, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
