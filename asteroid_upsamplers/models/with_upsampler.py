"""Asteroid's encoder/masker/decoder models, with any upsampler in their decoder."""

from __future__ import annotations

import copy
import inspect
from typing import Any, ClassVar, cast

import asteroid.models
import asteroid_filterbanks
import numpy as np
import torch
from asteroid.models import BaseModel
from asteroid.models.base_models import BaseEncoderMaskerDecoder
from asteroid_filterbanks import Decoder
from torch import Tensor

from .. import layers
from ..blocks import UpsamplerDecoder, exchange_upsamples
from ..errors import UsageError
from ..registry import nearest_names
from .portable import PortableModel

OWN = ("upsampler", "upsampler_kwargs", "masker_upsampler", "masker_upsampler_kwargs")
DESCRIPTION = """{name} with any upsampler in its decoder.

    Without the settings below it is {name}, and loads its files.

    Args:
        upsampler: Name of a registered upsampler, or its class; ``"transposed"`` is Asteroid's own
            decoder.
        upsampler_kwargs: Further settings of the upsampler, see ``blocks.UpsamplerDecoder``.
        masker_upsampler: An upsampler that replaces every ``nn.Upsample`` in the mask network
            (SuDORMRF has them), see ``blocks.ChannelwiseUpsampler``; ``None`` replaces none.
        masker_upsampler_kwargs: Its further settings.
        **kwargs: Every argument of {name}; a misspelt one is refused.

    Raises:
        UsageError: (a ``ValueError``) for an unknown option or upsampler, or impossible settings of
            the upsampler.
    """


class UpsamplerModel(PortableModel):
    """What the classes of :func:`with_upsampler` share; comes before Asteroid's class."""

    asteroid_class: ClassVar[type[BaseEncoderMaskerDecoder]]
    decoder: UpsamplerDecoder
    masker: Any

    def __init__(
        self,
        *args: Any,
        upsampler: str | type[layers.Upsampler] = "transposed",
        upsampler_kwargs: dict[str, Any] | None = None,
        masker_upsampler: str | type[layers.Upsampler] | None = None,
        masker_upsampler_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        _refuse_unknown(type(self), kwargs)
        super().__init__(*args, **kwargs)
        decoder = cast(Any, self).decoder
        if not isinstance(decoder, Decoder):
            raise UsageError(
                f"{self.asteroid_class.__name__}: its decoder is a {type(decoder).__name__}, "
                "must be an asteroid_filterbanks.Decoder"
            )
        self.decoder = UpsamplerDecoder.in_place_of(decoder, upsampler, upsampler_kwargs)
        self._own_args: dict[str, Any] = {
            "upsampler": self.decoder.upsampler_name,
            "upsampler_kwargs": self.decoder.upsampler_kwargs,
        }
        if masker_upsampler is not None:
            exchange_upsamples(self.masker, masker_upsampler, masker_upsampler_kwargs)
            self._own_args["masker_upsampler"] = layers.get(masker_upsampler).name
            self._own_args["masker_upsampler_kwargs"] = dict(masker_upsampler_kwargs or {})
        elif masker_upsampler_kwargs:
            raise UsageError("masker_upsampler_kwargs without a masker_upsampler to give them to")

    def get_model_args(self) -> dict[str, Any]:
        """Asteroid's plain values, with those of the upsampler."""
        return {**self.asteroid_class.get_model_args(self), **copy.deepcopy(self._own_args)}

    def torch_separate(self, wav: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Asteroid's, but silence is separated into silence, where its scaling gives NaN."""
        estimates = super().torch_separate(wav, *args, **kwargs)
        return estimates if wav.any() else torch.zeros_like(estimates)

    def numpy_separate(self, wav: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """:meth:`torch_separate` for arrays."""
        return self.torch_separate(torch.from_numpy(wav), *args, **kwargs).numpy()

    def separate(self, wav: Any, *args: Any, **kwargs: Any) -> Any:
        """Asteroid's, by type of ``wav``: a tensor, an array, or the name of a file."""
        if isinstance(wav, Tensor):
            return self.torch_separate(wav, *args, **kwargs)
        if isinstance(wav, np.ndarray):
            return self.numpy_separate(wav, *args, **kwargs)
        return super().separate(wav, *args, **kwargs)

    @classmethod
    def adapted(cls, package: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        """A file of the Asteroid class that this one derives from is read as one of this class.

        Raises:
            UsageError: (a ``ValueError``) if it was saved with another upsampler than is asked for.
        """
        if package["model_name"] == cls.asteroid_class.__name__:
            package["model_name"] = cls.__name__
            package["model_args"] |= {"upsampler": "transposed", "upsampler_kwargs": {}}
        if package["model_name"] == cls.__name__:
            _refuse_other_upsampler(cls.__name__, asked, package["model_args"])
        return package


def with_upsampler(cls: type[BaseEncoderMaskerDecoder]) -> type[UpsamplerModel]:
    """An Asteroid model class with any upsampler in its decoder, registered with Asteroid.

    Args:
        cls: Any subclass of Asteroid's ``BaseEncoderMaskerDecoder``, your own included.

    Returns:
        The class ``Upsampler<name>``: every argument of ``cls``, and ``upsampler``,
        ``upsampler_kwargs``, ``masker_upsampler`` and ``masker_upsampler_kwargs``. For the same
        ``cls`` it is always the same class.

    Raises:
        UsageError: (a ``ValueError``) for a model that is no encoder/masker/decoder, or has an
            option of one of these names already.

    Example:
        >>> import torch
        >>> from asteroid.models import ConvTasNet
        >>> model = with_upsampler(ConvTasNet)(n_src=2, n_blocks=2, n_repeats=1, upsampler="linear")
        >>> model(torch.zeros(1, 8000)).shape
        torch.Size([1, 2, 8000])
    """
    if not (isinstance(cls, type) and issubclass(cls, BaseEncoderMaskerDecoder)):
        raise UsageError(
            f"{getattr(cls, '__name__', cls)!s} is no encoder/masker/decoder model; it must be a "
            "subclass of asteroid.models.base_models.BaseEncoderMaskerDecoder, such as ConvTasNet"
        )
    if issubclass(cls, UpsamplerModel):
        return cls
    taken = [option for option in OWN if option in inspect.signature(cls).parameters]
    if taken:
        raise UsageError(f"{cls.__name__} has an option {taken[0]!r} already")
    name = f"Upsampler{cls.__name__}"
    known = getattr(asteroid.models, name, None)
    if known is not None and known.asteroid_class is cls:
        return known
    description = DESCRIPTION.format(name=cls.__name__)
    made = type(
        name,
        (UpsamplerModel, cls),
        {"__doc__": description, "__module__": __name__, "asteroid_class": cls},
    )
    cast(Any, made).__signature__ = _signature(cls)
    if known is None:
        asteroid.models.register_model(made)
    else:  # the class was defined anew, as in a notebook
        setattr(asteroid.models, name, made)
    return cast("type[UpsamplerModel]", made)


def _signature(cls: type) -> inspect.Signature:
    kinds = inspect.Parameter
    own = [
        kinds(option, kinds.KEYWORD_ONLY, default="transposed" if option == "upsampler" else None)
        for option in OWN
    ]
    theirs = list(inspect.signature(cls).parameters.values())
    last = [p for p in theirs if p.kind is kinds.VAR_KEYWORD]
    return inspect.Signature([*(p for p in theirs if p not in last), *own, *last])


def _refuse_unknown(cls: type[UpsamplerModel], options: dict[str, Any]) -> None:
    """Asteroid passes what it does not know on to the filterbanks, which swallow it."""
    classes = [c for c in cls.asteroid_class.__mro__ if c is not BaseModel]
    default = inspect.signature(cls.asteroid_class).parameters.get("fb_name")
    bank = options.get("fb_name", default.default if default else None)
    bank = getattr(asteroid_filterbanks, bank, None) if isinstance(bank, str) else bank
    if isinstance(bank, type):
        classes += bank.__mro__
    sources = [vars(c)["__init__"] for c in classes if "__init__" in vars(c)]
    sources.append(asteroid_filterbanks.make_enc_dec)
    parameters = [p for s in sources for p in inspect.signature(s).parameters.values()]
    rest = {p.name for p in parameters if p.kind is p.VAR_KEYWORD}
    if rest - {"fb_kwargs", "kwargs"}:  # they go elsewhere, as in DCUNet
        return
    known = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    known -= {"self", "encoder", "masker", "decoder"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UsageError(
            f"{cls.__name__}: unknown option {unknown[0]!r}: "
            f"{nearest_names(unknown[0], known | set(OWN))}"
        )


def _refuse_other_upsampler(name: str, asked: dict[str, Any], stored: dict[str, Any]) -> None:
    for option in OWN:
        if option not in asked:
            continue
        wanted, saved = asked[option], stored.get(option)
        if option.endswith("_kwargs"):
            wanted, saved = wanted or {}, saved or {}
        elif wanted is not None:
            wanted = layers.get(wanted).name
        if wanted != saved:
            raise UsageError(
                f"{name}: {option} is {wanted!r}, but the weights were saved with {saved!r} "
                "(models.swap_decoder exchanges the decoder of a loaded model)"
            )


UpsamplerConvTasNet = with_upsampler(asteroid.models.ConvTasNet)
UpsamplerDPRNNTasNet = with_upsampler(asteroid.models.DPRNNTasNet)
UpsamplerDPTNet = with_upsampler(asteroid.models.DPTNet)
UpsamplerLSTMTasNet = with_upsampler(asteroid.models.LSTMTasNet)
UpsamplerSuDORMRFNet = with_upsampler(asteroid.models.SuDORMRFNet)
UpsamplerSuDORMRFImprovedNet = with_upsampler(asteroid.models.SuDORMRFImprovedNet)
