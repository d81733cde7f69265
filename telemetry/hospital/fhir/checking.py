"""Holds a bundle against the models of fhir.resources, and its references against its entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fhir.resources.bundle import Bundle
from pydantic import BaseModel, ValidationError

from telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidBundleError(TelemetryError):
    """What was made is no valid FHIR R5: a defect of this package."""


def check(text: str) -> Bundle:
    """The bundle as the library reads it; raises ``InvalidBundleError`` naming every place that it does not accept.

    Also holds what the library knows and does not look at: that a code is one of those which FHIR lists for its place,
    that each entry stands once, and that each reference leads to one.
    """
    try:
        bundle: Bundle = Bundle.model_validate_json(text)
    except ValidationError as problem:
        places = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problem.errors()]
        raise InvalidBundleError(f"not FHIR R5: {'; '.join(places)}") from problem
    except (LookupError, TypeError) as problem:  # a resource type that the library does not know
        raise InvalidBundleError(f"not FHIR R5: {problem!r}") from problem
    strange = list(_unlisted(bundle, "Bundle"))
    if strange:
        raise InvalidBundleError(f"not FHIR R5: {'; '.join(strange)}")
    content = bundle.model_dump()
    urls = [entry["fullUrl"] for entry in content.get("entry", [])]
    if len(set(urls)) != len(urls):
        raise InvalidBundleError(f"entries that stand twice: {sorted({url for url in urls if urls.count(url) > 1})}")
    lost = sorted(set(_references(content)) - set(urls))
    if lost:
        raise InvalidBundleError(f"references that lead nowhere: {lost}")
    return bundle


def _unlisted(value: object, where: str) -> Iterator[str]:
    """Codes that are none of those which the library's model lists for their place (FHIR's required bindings)."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unlisted(item, f"{where}.{number}")
    if not isinstance(value, BaseModel):
        return
    for name, field in type(value).model_fields.items():
        found, extra = getattr(value, name, None), field.json_schema_extra
        if found is None:
            continue
        listed = extra.get("enum_values") if isinstance(extra, dict) else None
        if isinstance(listed, list) and isinstance(found, str) and found not in listed:
            yield f"{where}.{name}: {found!r} is none of {', '.join(map(str, listed))}"
        yield from _unlisted(found, f"{where}.{name}")


def _references(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "reference" and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
