"""OpenFeature: features as flags, for code that asks through the OpenFeature SDK.

    api.set_provider(EntitlementsProvider(ent))
    client.get_boolean_value("exports", False, EvaluationContext(targeting_key="acme"))

The targeting key is the customer; without one it is the customer acting. `track` records usage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from .aio.beside import blocking
from .aio.engine import AsyncEntitlements
from .decisions import Decision
from .engine import Entitlements
from .gating import current_customer
from .web.asking import check_engine
from .web.flags import metadata_of, reason_of, value_of, variant_of

V = TypeVar("V")


class EntitlementsProvider(AbstractProvider):
    """Answers flags from the decisions of an engine; a setting that is not granted is its default.

    Raises TypeError for an `ent` that is no engine, NotConfigured where its storage is awaited: the SDK blocks.
    """

    def __init__(self, ent: Entitlements | AsyncEntitlements) -> None:
        check_engine(ent, Entitlements, AsyncEntitlements)
        super().__init__()
        self.ent = blocking(ent)
        ent.on("catalog", self._changed)

    def get_metadata(self) -> Metadata:
        """Return the name of the provider."""
        return Metadata("entitlements")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Return whether a feature may be had."""
        return self._details(flag_key, default_value, evaluation_context, lambda said: said is True or said is False)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return a setting that is a text."""
        return self._details(flag_key, default_value, evaluation_context, lambda said: isinstance(said, str))

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return a setting that is a whole number."""
        return self._details(flag_key, default_value, evaluation_context, lambda said: type(said) is int)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Return a setting that is a number."""
        return self._details(
            flag_key,
            default_value,
            evaluation_context,
            lambda said: type(said) in {int, float},
            float,
        )

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return a setting that is a list."""
        return self._details(flag_key, default_value, evaluation_context, lambda said: isinstance(said, list))

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Record usage of the metered feature that the event is named after: its value, or 1."""
        value = tracking_event_details.value if tracking_event_details is not None else None
        amount = 1 if value is None else Decimal(repr(value)) if isinstance(value, float) else value
        self.ent.record(_customer(evaluation_context), tracking_event_name, amount)

    def _details(
        self,
        feature: str,
        default: V,
        context: EvaluationContext | None,
        fits: Callable[[Any], bool],
        made: Callable[[Any], Any] = lambda said: said,
    ) -> FlagResolutionDetails[V]:
        decision = self.ent.check(_customer(context), feature)
        if decision.code == "unknown_feature":
            raise FlagNotFoundError(decision.reason)
        said = value_of(decision, self.ent.catalog)
        if said is None:
            return _told(decision, default)
        if not fits(said):
            raise TypeMismatchError(f"{feature} is {type(said).__name__}, not {type(default).__name__}")
        return _told(decision, made(said))

    def _changed(self, catalog: Any) -> None:
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=list(catalog.features)))


def _told(decision: Decision, value: V) -> FlagResolutionDetails[V]:
    return FlagResolutionDetails(
        value, reason=reason_of(decision), variant=variant_of(decision), flag_metadata=metadata_of(decision)
    )


def _customer(context: EvaluationContext | None) -> str:
    named = context.targeting_key if context is not None else None
    customer = named or current_customer()
    if not customer:
        raise TargetingKeyMissingError("no customer: set the targeting key, or act as one")
    return customer
