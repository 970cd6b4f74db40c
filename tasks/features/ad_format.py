"""The format of an ad in Avazu's log: its width and height together."""

from tasks.features import feature


@feature("C15", "C16")
def ad_format(width: str | None, height: str | None) -> str | None:
    """Return width and height in pixels with the shape they make; nothing if either is missing.

    Wide is at least twice as wide as high, tall the reverse.

    Examples
    --------
    >>> ad_format("320", "50"), ad_format("300", "250"), ad_format("120", "600"), ad_format("320", None)
    ('wide 320x50', 'box 300x250', 'tall 120x600', None)
    """
    if width is None or height is None:
        return None
    is_wide, is_tall = int(width) >= 2 * int(height), int(height) >= 2 * int(width)
    shape = "wide" if is_wide else "tall" if is_tall else "box"
    return f"{shape} {width}x{height}"
