"""A figure's SVG as an element of an HTML page, in colours that follow the page's light or dark theme."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

SVG_ZOOM = 1.35  # figures have the small type of a paper, which is enlarged for a screen
PIXELS_PER_POINT = 96 / 72
PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")
"""An image inside a figure, as matplotlib writes it; every other reference outside of the figure is removed."""

DARK_PAPER = "#1b1e22"
"""The background of figures in the dark theme, ``--card`` in style.css.j2."""
MIN_CONTRAST = 4.5
"""Of text on its background, WCAG 2.2, success criterion 1.4.3."""
COLOUR = re.compile(r"#([0-9a-f]{6})\b")
NUMBER = r"-?\d+(?:\.\d+)?"
MIN_AREA_SIDE = 5.0  # points; a smaller filled path is a marker

Box = tuple[float, float, float, float]


def inline_svg(text: str, *, prefix: str, label: str) -> Markup:
    """Return an SVG file's text as an element for an HTML page with several SVG elements.

    Prolog, doctype, comments and metadata are removed, and the style sheet, which would apply to the whole page. Every
    id and every reference to an id gets ``prefix``. The width is that of the page, at most ``SVG_ZOOM`` times the
    figure's width.

    Black, white and grey become mixtures of the page's ``--figure-ink`` and ``--figure-paper``. Other colours become
    lighter in the dark theme as far as their contrast needs it. A coloured area, such as a cell of a heat map, and
    everything that is drawn on it keep their colours.

    Raises:
        xml.etree.ElementTree.ParseError: the text is not SVG.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style", "script")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {
            _local(key): _with_prefix(_local(key), value, prefix)
            for key, value in element.attrib.items()
            if not _local(key).startswith("on")
        }
    _set_colours(root)
    width = float(root.get("viewBox", "0 0 504 288").split()[2]) * PIXELS_PER_POINT  # a matplotlib unit is a point
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {
        "role": "img",
        "aria-label": label,
        # The first two properties replace matplotlib's style sheet, which sets them on all elements. An element without
        # a colour is black.
        "style": f"stroke-linejoin: round; stroke-linecap: butt; fill: {themed('000000')}; "
        f"--drawn: {width:.0f}px; max-width: {width * SVG_ZOOM:.0f}px",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def themed(colour: str) -> str:
    """Return a colour, six hexadecimal digits, as a CSS colour that follows the theme."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (0, 2, 4))
    if red == green == blue:
        return f"color-mix(in srgb, var(--figure-ink) {100 * (1 - red / 255):.4g}%, var(--figure-paper))"
    share = next(
        share
        for share in range(0, 101, 5)
        if contrast([value + share / 100 * (255 - value) for value in (red, green, blue)]) >= MIN_CONTRAST
    )
    return f"color-mix(in srgb, #fff calc({share}% * var(--figure-dark)), #{colour})" if share else f"#{colour}"


def contrast(colour: Sequence[float], paper: str = DARK_PAPER) -> float:
    """Return the contrast ratio of WCAG 2.2 of a colour, three values from 0 to 255, and a background."""
    darker, lighter = sorted((_luminance(colour), _luminance([int(paper[i : i + 2], 16) for i in (1, 3, 5)])))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Sequence[float]) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _set_colours(root: Element) -> None:
    """Replace the colours of all elements, except of coloured areas and of what is drawn on them."""
    areas = list(_coloured_areas(root))
    _set_colours_below(root, [box for _, box in areas], {id(element) for element, _ in areas})


def _set_colours_below(element: Element, areas: Sequence[Box], kept: set[int]) -> None:
    if id(element) in kept:
        return
    if element.tag == "defs":  # glyphs and markers, which are drawn elsewhere
        areas = ()
    point = _place(element) if areas else None
    if point is not None and any(x0 < point[0] < x1 and y0 < point[1] < y1 for x0, y0, x1, y1 in areas):
        if "fill" not in element.get("style", ""):
            element.set("style", f"fill: #000000; {element.get('style', '')}")
        return
    for key in ("style", "fill", "stroke"):
        if key in element.attrib:
            colours = COLOUR.sub(lambda found: themed(found[1]), element.attrib.pop(key))
            if key == "style":
                element.set("style", colours)
            else:  # an attribute has no function; a style has
                element.set("style", f"{key}: {colours}; {element.get('style', '')}")
    for child in element:
        _set_colours_below(child, areas, kept)


def _coloured_areas(root: Element) -> Iterator[tuple[Element, Box]]:
    """Yield each image and each path with an opaque fill that is not grey, with its box."""
    for element in root:
        if element.tag == "image":
            yield element, _image_box(element)
        elif element.tag == "path":
            style = element.get("style", "")
            fill = re.search(r"fill: #(..)(..)(..)", style)
            is_coloured = fill is not None and len(set(fill.groups())) > 1 and "opacity" not in style
            box = _box(element) if is_coloured else None
            if box is not None and min(box[2] - box[0], box[3] - box[1]) >= MIN_AREA_SIDE:
                yield element, box
        elif element.tag != "defs":
            yield from _coloured_areas(element)


def _box(path: Element) -> Box | None:
    """Return left, top, right and bottom of a path of straight lines or curves, its control points included."""
    points = [(float(x), float(y)) for x, y in re.findall(rf"({NUMBER}) ({NUMBER})", path.get("d", ""))]
    if not points:
        return None
    return min(x for x, _ in points), min(y for _, y in points), max(x for x, _ in points), max(y for _, y in points)


def _image_box(image: Element) -> Box:
    """Return the box of an image; matplotlib draws it upside down, moved by its height."""
    x, y, width, height = (float(image.get(key, "0")) for key in ("x", "y", "width", "height"))
    if moved := re.search(rf"scale\(1 -1\) translate\(0 (-?{NUMBER})\)", image.get("transform", "")):
        y = -(y + float(moved[1])) - height
    return x, y, x + width, y + height


def _place(element: Element) -> tuple[float, float] | None:
    """Return where a text, a marker or a line begins; None for another element."""
    if element.tag == "g":
        found = re.match(rf"translate\(({NUMBER}) ({NUMBER})\)", element.get("transform", ""))
        return (float(found[1]), float(found[2])) if found else None
    if element.tag == "use" and "x" in element.attrib:
        return float(element.attrib["x"]), float(element.attrib["y"])
    if element.tag == "path" and (found := re.match(rf"M ({NUMBER}) ({NUMBER})", element.get("d", ""))):
        return float(found[1]), float(found[2])
    return None


def _local(name: str) -> str:
    """Return a tag or attribute without its XML namespace."""
    return name.rpartition("}")[2]


def _with_prefix(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        if PIXELS.fullmatch(value):
            return value
        return f"#{prefix}{value[1:]}" if value.startswith("#") else ""
    return re.sub(r"url\(\s*(['\"]?)#", rf"url(\1#{prefix}", value) if "url(" in value else value
