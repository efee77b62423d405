"""The part of a document that a program makes: what stands between two comments, each there once."""


def replaced(text, begin, end, made):
    """The text with `made` for what stands between them."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{made}\n{end}{after}"
