"""`tulou.toml`, typed: one frozen model per section, and one clear sentence for whatever is wrong with it.

Each part of Tulou is given its own section, never the whole tree. Unknown keys are refused, because a misspelt setting
that is silently ignored costs a night.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from tulou.core.compression import parse
from tulou.core.errors import SettingsError
from tulou.core.section import Section as Section
from tulou.core.service_settings import RolloutSettings, ServiceSettings
from tulou.core.types import Task
from tulou.core.urls import without_secrets

FILE_NAME = "tulou.toml"

SensitiveAction = Literal["mask", "drop", "tokenize", "keep"]
SENSITIVE_KINDS: dict[str, tuple[str, SensitiveAction]] = {  # short name: (Presidio's name, what happens unless said)
    "phone": ("PHONE_NUMBER", "mask"),
    "email": ("EMAIL_ADDRESS", "mask"),
    "id_card": ("CN_ID_CARD", "mask"),
    "bank_card": ("CREDIT_CARD", "mask"),
    "passport": ("CN_PASSPORT", "mask"),
    "social_credit": ("CN_SOCIAL_CREDIT_CODE", "mask"),
    "iban": ("IBAN_CODE", "mask"),
    "us_ssn": ("US_SSN", "mask"),
    # Often the very answer a customer wants (a shop's address, a server's IP, who is in charge), so they stay.
    "ip": ("IP_ADDRESS", "keep"),
    "license_plate": ("CN_LICENSE_PLATE", "keep"),
    "person": ("PERSON", "keep"),
    "address": ("LOCATION", "keep"),
}

_SHORT_NAMES = {entity: kind for kind, (entity, _) in SENSITIVE_KINDS.items()}
_BESIDE_MODELS = ("compress", "registry")  # tables under [model] that are no models
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class ProjectSettings(Section):
    name: str = Field("tulou", pattern=_NAME)
    languages: tuple[Literal["zh", "en"], ...] = ("zh", "en")


class SourceSettings(Section):
    """Where one kind of records comes from."""

    name: str = Field(pattern=_NAME)
    url: str = Field(min_length=1)  # glob relative to the project folder, or URL
    text: tuple[
        str, ...
    ] = ()  # columns joined into the record's text; empty: all of a file, or every column of a table
    label: str | None = None  # column a classifier learns
    subject_id: str | None = None  # column that names the person a record is about
    index: bool | None = None  # whether answers may quote it; by default every source without a label
    cursor: str | None = (
        None  # column of a database that only grows; a later run reads the rows beyond the last one seen
    )
    speech_model: str | None = (
        None  # folder of a Whisper model for faster-whisper; None: the embedded English recogniser
    )

    @property
    def is_indexed(self) -> bool:
        if self.index is not None:
            return self.index
        is_said_in_private = self.url.startswith("tulou://")  # what one customer wrote is not quoted to another
        return self.label is None and not is_said_in_private


def unknown_kind(name: str, known: Iterable[str]) -> str:
    """The sentence for a kind of sensitive data that nothing finds."""
    return f"unknown kind of sensitive data {name!r}; choose from {', '.join(known)}"


CLEAN_STEPS = (
    *("encoding", "markup", "characters", "chinese", "space", "empty", "sensitive", "spelling", "forbidden", "quality"),
    *("spam", "exact_duplicate", "near_duplicate"),
)
QUALITY_RULES = ("too_short", "symbols", "digits", "language", "repetitive", "boilerplate")


class CleanSettings(Section):
    near_duplicate_similarity: float = Field(0.8, gt=0, le=1)  # Jaccard on shingles; 1 keeps all but exact copies
    near_duplicate_numbers: Literal["differ", "ignore"] = "differ"  # whether texts with other numbers state other facts
    traditional: Literal["keep", "simplify"] = "keep"  # traditional Chinese characters
    spelling: Literal["off", "report", "correct"] = "off"
    min_chars: int = Field(4, ge=0)  # shorter records are dropped
    max_symbol_ratio: float = Field(0.5, gt=0, le=1)  # of characters that are neither letters, digits nor spaces
    max_digit_ratio: float = Field(1.0, gt=0, le=1)  # of visible characters
    languages: tuple[Literal["zh", "en", "other"], ...] = ()  # others are dropped; empty: none are
    off: tuple[str, ...] = ()  # steps or rules not wanted: "spam", "quality.repetitive"
    sensitive_words: str = (
        ""  # file of words and /expressions/ to treat as sensitive, one a line: "word", "word = kind"
    )
    forbidden_words: str = ""  # file of words and /expressions/ whose records are dropped
    recognisers: tuple[str, ...] = ()  # further recognisers: "https://…", "module:function", "presidio:module:Class"
    sensitive: dict[str, SensitiveAction] = Field(default_factory=dict)  # kinds, in either spelling, that differ

    @field_validator("off")
    @classmethod
    def _steps_we_have(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = (*CLEAN_STEPS, *(f"quality.{rule}" for rule in QUALITY_RULES))
        for name in value:
            if name not in known:
                raise ValueError(f"there is no step or rule {name!r} to switch off; choose from {', '.join(known)}")
        return value

    @field_validator("sensitive")
    @classmethod
    def _every_kind_has_its_action(
        cls, value: dict[str, SensitiveAction], info: ValidationInfo
    ) -> dict[str, SensitiveAction]:
        """The setting completed: short names only, and what was not named does what it does by itself."""
        may_bring_kinds = bool(info.data.get("sensitive_words") or info.data.get("recognisers"))
        chosen: dict[str, SensitiveAction] = {}
        for name, action in value.items():
            kind = _SHORT_NAMES.get(name, name)
            if kind in chosen:
                raise ValueError(f"{kind!r} is named twice, the second time as {name!r}; keep one of them")
            if kind not in SENSITIVE_KINDS and not may_bring_kinds:
                raise ValueError(unknown_kind(name, SENSITIVE_KINDS))
            chosen[kind] = action
        return {kind: action for kind, (_, action) in SENSITIVE_KINDS.items()} | chosen


def known_engine(value: str) -> str:
    if value != "local" and not re.fullmatch(r"ray://(local|[^/\s]+:\d+)", value):
        raise ValueError("choose local, ray://local or ray://HOST:PORT")
    return value


class DataSettings(Section):
    engine: str = "local"  # or ray://local, ray://HOST:PORT
    workers: int = Field(0, ge=0)  # processes that clean; 0: one for each core
    store: str = ".tulou/store"
    search: str = ".tulou/search"
    state: str = "sqlite:///.tulou/state.db"
    source: tuple[SourceSettings, ...] = ()
    clean: CleanSettings = CleanSettings()
    passage_chars: int = Field(400, ge=50)  # longest passage; sentences are kept whole where they fit
    passage_overlap_chars: int = Field(0, ge=0)  # of whole sentences that a passage repeats from the one before
    reranker: str = ""  # model of task rerank that orders what was found anew; empty: none

    @field_validator("search")
    @classmethod
    def _a_folder_or_elasticsearch(cls, value: str) -> str:
        if "://" in value and not re.match(r"elasticsearch(\+https?)?://[^/]+/[^/?]+", value):
            raise ValueError("choose a folder, elasticsearch://HOST:9200/NAME or elasticsearch+https://HOST/NAME")
        return value

    @field_validator("engine")
    @classmethod
    def _an_engine_we_have(cls, value: str) -> str:
        return known_engine(value)

    @model_validator(mode="after")
    def _overlap_fits(self) -> DataSettings:
        if 2 * self.passage_overlap_chars > self.passage_chars:
            raise ValueError(
                f"passage_overlap_chars {self.passage_overlap_chars} is more than half of passage_chars "
                f"{self.passage_chars}"
            )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> DataSettings:
        names = [source.name for source in self.source]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two sources are called {sorted(doubled)[0]!r}; give each its own name")
        return self


class LoraSettings(Section):
    """[model.NAME.lora], for method = "lora"."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(0, ge=0)  # strength; 0: twice the rank
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()  # names of modules; empty: every matrix in the layers, by architecture


class PretrainSettings(Section):
    """[model.NAME.pretrain]: the size of a model from scratch, and how much of the corpus is read."""

    tokens: int = Field(0, ge=0)  # read in all; 0: 400,000 from scratch, none by a base that is trained already
    vocabulary: int = Field(6144, ge=300)
    width: int = Field(256, ge=16)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    key_value_heads: int = Field(2, ge=1)
    row_tokens: int = Field(256, ge=16)  # of a training row
    optimizer: Literal["auto", "muon", "adamw"] = "auto"  # auto: muon from scratch, adamw from a base
    learning_rate: float = Field(0.0, ge=0)  # 0: 5e-3 from scratch, 1e-4 from a base
    compile: Literal["auto", "always", "never"] = "auto"  # a sixth less time a step after some 20 s; auto: in long runs
    compare_tokenizers: tuple[str, ...] = ("minilm",)  # bases whose fertility is told beside that of the model's own

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> PretrainSettings:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 x heads = {2 * self.heads}")
        if self.heads % self.key_value_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of key_value_heads {self.key_value_heads}")
        return self


class ModelSettings(Section):
    """One model to make. Zero or empty training values mean: the task's own default."""

    task: Task
    base: str = "minilm"  # "minilm", "scratch", a folder, or a Hugging Face id
    # classify: the labelled source; chat: the knowledge source, by default every indexed one; embed: clicks, with the
    # question as text and what was clicked as label
    source: str | None = None
    pairs: tuple[
        Literal["passages", "feedback"], ...
    ] = ()  # embed: where pairs to learn from come from besides `source`
    method: Literal["full", "lora"] = "full"
    lora: LoraSettings = LoraSettings()
    pretrain: PretrainSettings = PretrainSettings()
    preference: bool = False  # chat: whether corrections and thumbs teach which answer is the better one (DPO)
    packing: bool = False  # chat: whether several conversations share a row
    epochs: int = Field(0, ge=0)
    batch_size: int = Field(0, ge=0)  # rows that one step learns from
    accumulate: int = Field(1, ge=1)  # parts in which a step is computed: same result, less memory
    gradient_checkpointing: bool = False  # compute activations twice rather than keep them
    learning_rate: float = Field(0.0, ge=0)
    max_tokens: int = Field(0, ge=0)  # longest example; the context length for `scratch`
    patience: int = Field(0, ge=0)  # validations without a better one that end training early; 0: never
    checkpoint_steps: int = Field(0, ge=0)  # steps between two checkpoints; 0: about a minute
    seed: int = 0
    engine: str = "local"  # or ray://local, ray://HOST:PORT
    workers: int = Field(0, ge=0)  # processes that train under Ray; 0: one for each GPU, else two
    sharding: Literal["ddp", "fsdp"] = "ddp"  # what several workers share

    @field_validator("engine")
    @classmethod
    def _an_engine_we_have(cls, value: str) -> str:
        return known_engine(value)

    @model_validator(mode="after")
    def _task_fits(self) -> ModelSettings:
        if self.task == "classify" and self.source is None:
            raise ValueError("task 'classify' needs source = the name of a [[data.source]] with a label column")
        if self.base == "scratch" and self.task != "chat":
            raise ValueError(f"base 'scratch' is for task 'chat' only, not {self.task!r}")
        if self.task == "rerank" and (self.base == "minilm" or self.source):
            raise ValueError(
                "task 'rerank' needs base = a cross-encoder, taken as it is: a folder or a Hugging Face id"
            )
        chat_only = [key for key in ("preference", "packing") if getattr(self, key) and self.task != "chat"]
        if chat_only:
            raise ValueError(f"{chat_only[0]} is for task 'chat' only, not {self.task!r}")
        if self.pretrain.optimizer == "muon" and self.method == "lora" and self.base != "scratch":
            raise ValueError("pretrain.optimizer 'muon' learns whole matrices; with method 'lora' use 'adamw'")
        if self.pairs and self.task != "embed":
            raise ValueError(f"pairs is for task 'embed' only, not {self.task!r}")
        return self

    @property
    def learns_pairs(self) -> bool:
        """Whether a search encoder is trained, or taken as it is."""
        return self.task == "embed" and bool(self.source or self.pairs)


class CompressSettings(Section):
    """[model.compress]"""

    methods: tuple[str, ...] = ("int8",)  # candidates: chains such as "trim+prune@0.5+int8", see core/compression.py
    max_accuracy_loss: float = Field(0.005, ge=0, le=1)
    recovery_epochs: int = Field(6, ge=1)  # that a trimmed, pruned or distilled classifier is trained again
    max_minutes: float = Field(0.0, ge=0)  # after which no further candidate is begun; 0: no limit

    @field_validator("methods")
    @classmethod
    def _methods_we_have(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for method in value:
            parse(method)
        return value


class RegistrySettings(Section):
    """[model.registry]"""

    url: str = "sqlite:///.tulou/mlflow.db"  # or an MLflow server: http://HOST:PORT
    promote: Literal["auto", "never"] = "auto"  # whether a new version that is not worse serves by itself

    @field_validator("url")
    @classmethod
    def _kinds_we_have(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "http://", "https://")):
            raise ValueError("choose sqlite:///FILE or the URL of an MLflow server, http://HOST:PORT")
        return value


class SupportSettings(Section):
    """[apps.support]"""

    model: str = "assistant"  # the chat model that phrases answers
    intents: str | None = "intents"  # the classifier that names the customer's intent; left out if no such model exists
    top_k: int = Field(4, ge=1, le=20)  # passages given to the model and shown as sources
    max_answer_tokens: int = Field(96, ge=1)
    contact_zh: str = "人工客服"  # who is offered when nothing fits
    contact_en: str = "a colleague"
    suggestions_zh: tuple[str, ...] = ()  # questions offered to someone who has not asked anything yet
    suggestions_en: tuple[str, ...] = ()


class ContentSettings(Section):
    """[apps.content]"""

    model: str = "assistant"
    templates: str = "content"  # folder of the project with one file per template
    max_answer_tokens: int = Field(160, ge=1)


class AppsSettings(Section):
    support: SupportSettings = SupportSettings()
    content: ContentSettings = ContentSettings()


class ExamSettings(Section):
    """Questions kept out of all training data, with the documents that answer them."""

    questions: str = "exam/questions.jsonl"
    off_topic: str = "exam/off_topic.jsonl"


class JudgeSettings(Section):
    """[judge]: how models are looked at before they are registered."""

    segments: tuple[str, ...] = ()  # columns of the cleaned records by which a classifier's figures are repeated
    canaries: int = Field(6, ge=0, le=64)  # rows planted in each training set to see what is learnt by heart
    parity_probes: int = Field(16, ge=1)  # texts on which what is served is compared with what was trained
    parity_tolerance: float = Field(1e-3, gt=0)  # of FP32 logits, against the largest one

    @field_validator("segments")
    @classmethod
    def _columns_we_have(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            return value
        from tulou.core.tables import DOCUMENT

        for name in value:
            if name not in DOCUMENT.names:
                raise ValueError(f"there is no column {name!r}; choose from {', '.join(DOCUMENT.names)}")
        return value


class BudgetSettings(Section):
    """[budget]: what an hour costs, for `tulou plan`. Without prices it tells time and memory only."""

    currency: str = "CNY"
    cpu_core_hour: float = Field(0.0, ge=0)
    gpu_hour: float = Field(0.0, ge=0)
    calibration_s: float = Field(12.0, gt=0)  # how long each stage is tried before its time is predicted


class Settings(Section):
    """All of `tulou.toml`. `models` is the [model.NAME] tables, out of which `_BESIDE_MODELS` are taken."""

    project: ProjectSettings = ProjectSettings()
    data: DataSettings = DataSettings()
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    compress: CompressSettings = CompressSettings()
    registry: RegistrySettings = RegistrySettings()
    service: ServiceSettings = ServiceSettings()
    rollout: RolloutSettings = RolloutSettings()
    apps: AppsSettings = AppsSettings()
    exam: ExamSettings = ExamSettings()
    judge: JudgeSettings = JudgeSettings()
    budget: BudgetSettings = BudgetSettings()

    @model_validator(mode="after")
    def _references_exist(self) -> Settings:
        for name in self.service.remote:
            if not re.match(_NAME, name):
                raise ValueError(f"service.remote name {name!r} may hold only letters, digits, '.', '_' and '-'")
            if name in self.models:
                raise ValueError(f"service.remote.{name} has the name of [model.{name}]; give it another")
        sources = {source.name: source for source in self.data.source}
        for name, model in self.models.items():
            if not re.match(_NAME, name):
                raise ValueError(f"model name {name!r} may hold only letters, digits, '.', '_' and '-'")
            if model.source is not None and model.source not in sources:
                have = ", ".join(sources) or "none"
                raise ValueError(f"model.{name}.source {model.source!r} is no [[data.source]]; there are: {have}")
            if model.task in ("classify", "embed") and model.source and sources[model.source].label is None:
                raise ValueError(f"model.{name} learns from source {model.source!r}, which names no label column")
        rerankers = [name for name, model in (self.models | self.service.remote).items() if model.task == "rerank"]
        if (reranker := self.data.reranker) and reranker not in rerankers:
            have = ", ".join(rerankers) or "none"
            raise ValueError(f"data.reranker {reranker!r} is no model of task 'rerank'; there are: {have}")
        for name in self.service.prices:
            if name not in self.models | self.service.remote:
                have = ", ".join(self.models | self.service.remote) or "none"
                raise ValueError(f"service.prices.{name} is the price of no model; there are: {have}")
        return self

    @model_validator(mode="after")
    def _fallbacks_can_answer(self) -> Settings:
        tasks = {name: model.task for name, model in (self.models | self.service.remote).items()}
        for name, other in self.service.fallback.items():
            for each in (name, other):
                if each not in tasks:
                    have = ", ".join(tasks) or "none"
                    raise ValueError(f"service.fallback names {each!r}, which is no model; there are: {have}")
            task = tasks[name]
            if tasks[other] != task or name == other:
                raise ValueError(f"service.fallback: {other!r} cannot answer for {name!r}; choose another {task} model")
        return self

    def without_effect(self) -> list[str]:
        """Keys set in the file that this version checks but does not act on, so that nobody relies on them."""
        return []  # none at present

    @property
    def encoder(self) -> str:
        """Name of the model that makes search vectors."""
        return next(name for name, model in self.models.items() if model.task == "embed")


def load_settings(project: Path) -> Settings:
    """Read `tulou.toml` in the folder `project`.

    Raises `SettingsError` with one sentence that names the file, the key and what would be right.
    """
    path = project / FILE_NAME
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors put a mark first
    except FileNotFoundError:
        raise SettingsError(
            f"{path} does not exist; make a project with `tulou init DIR --template shop` or pass --project DIR"
        ) from None
    except (OSError, UnicodeDecodeError) as err:
        raise SettingsError(f"{path} cannot be read: {err}") from err
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(f"{path} is not valid TOML: {err}") from err
    return parse_settings(raw, where=str(path))


def with_listen(settings: Settings, listen: str) -> Settings:
    """`settings` with another address to listen on. Raises `SettingsError` where it is not HOST:PORT."""
    try:
        service = ServiceSettings.model_validate({**settings.service.model_dump(), "listen": listen})
    except ValidationError as err:
        raise SettingsError(f"--listen {err.errors()[0]['msg'].removeprefix('Value error, ')}") from err
    return settings.model_copy(update={"service": service})


def parse_settings(raw: dict[str, Any], where: str = FILE_NAME) -> Settings:
    tables = dict(raw)
    inside = {"models": "model.NAME", **{key: f"model.{key}" for key in _BESIDE_MODELS}}
    for key, meant in inside.items():  # names that Settings has inside
        if key in tables:
            raise SettingsError(f"{where}: unknown key {key!r}; did you mean '{meant}'?")
    models = tables.pop("model", {})
    if not isinstance(models, dict):
        raise SettingsError(f"{where}: [model.NAME] must be a table")
    models = dict(models)
    for name, model in models.items():
        _require_no_misspelling(name, model, where)
    tables |= {key: models.pop(key) for key in _BESIDE_MODELS if key in models}
    if not any(isinstance(model, dict) and model.get("task") == "embed" for model in models.values()):
        models["encoder"] = {"task": "embed", "base": "minilm"}  # search always needs vectors
    tables["models"] = models
    try:
        return Settings.model_validate(tables)
    except ValidationError as err:
        raise SettingsError(f"{where}: {_first_problem(err)}") from err


def _require_no_misspelling(name: str, model: Any, where: str) -> None:
    """Raises `SettingsError` for a [model.compres] that has no key of a model: nobody means a model by it."""
    close = difflib.get_close_matches(name, _BESIDE_MODELS, n=1, cutoff=0.75)
    if close and close[0] != name and isinstance(model, dict) and not set(model) & set(ModelSettings.model_fields):
        raise SettingsError(f"{where}: unknown key 'model.{name}'; did you mean 'model.{close[0]}'?")


def _first_problem(err: ValidationError) -> str:
    problems = err.errors(include_url=False)
    misspelt = [
        each for each in problems if each["type"] == "extra_forbidden" and each["loc"][:-1] == problems[0]["loc"][:-1]
    ]
    problem = misspelt[0] if misspelt and problems[0]["type"] == "missing" else problems[0]
    path = [part for part in problem["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = _spelled_as_in_file(path)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"
        return f"unknown key {key!r}; {hint}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    value = without_secrets(problem["input"]) if isinstance(problem["input"], str) else problem["input"]
    shown = "" if isinstance(value, dict | BaseModel) or not key else f" (it is {value!r})"
    return f"{key}: {message}{shown}" if key else message


def _spelled_as_in_file(path: list[int | str]) -> str:
    spelled = ""
    for part in path:
        spelled += f"[{part}]" if isinstance(part, int) else f".{part}"
    spelled = spelled.lstrip(".")
    if spelled.startswith("models"):
        return "model" + spelled.removeprefix("models")
    return "model." + spelled if spelled.split(".")[0] in _BESIDE_MODELS else spelled


def _keys_at(path: list[int | str]) -> list[str]:
    """Keys allowed in the section that `path` leads to, in the file's spelling."""
    section: type[BaseModel] = Settings
    for part in path:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        if field is None:  # a [model.NAME] table
            continue
        section = _section_of(field.annotation) or section
    keys = list(section.model_fields)
    return [{"models": "model"}.get(key, key) for key in keys if not (section is Settings and key in _BESIDE_MODELS)]


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _section_of(inner):
            return found
    return None
