"""The reference page and the settings say the same."""

from pathlib import Path

import pytest

from tulou.core import fleet_settings, service_settings, settings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[settings.Section]] = {
    "[project]": settings.ProjectSettings,
    "[data]": settings.DataSettings,
    "[[data.source]]": settings.SourceSettings,
    "[data.clean]": settings.CleanSettings,
    "[model.NAME]": settings.ModelSettings,
    "[model.NAME.lora]": settings.LoraSettings,
    "[model.NAME.pretrain]": settings.PretrainSettings,
    "[model.compress]": settings.CompressSettings,
    "[model.registry]": settings.RegistrySettings,
    "[service]": service_settings.ServiceSettings,
    "[service.queue]": service_settings.QueueSettings,
    "[service.retries]": service_settings.RetrySettings,
    "[service.breaker]": service_settings.BreakerSettings,
    "[service.cache]": service_settings.CacheSettings,
    "[service.replicas]": fleet_settings.ReplicaSettings,
    "[service.replicas.scale_up]": fleet_settings.RulesSettings,
    "[service.remote.NAME]": fleet_settings.RemoteSettings,
    "[service.prices.MODEL]": service_settings.PriceSettings,
    "[rollout]": service_settings.RolloutSettings,
    "[apps.support]": settings.SupportSettings,
    "[apps.content]": settings.ContentSettings,
    "[exam]": settings.ExamSettings,
}
IN_SECTIONS_OF_THEIR_OWN = {"source", "clean"}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_on_the_reference_page(title: str) -> None:
    section = SECTIONS[title]
    text = PAGE.partition(f"## `{title}`")[2].partition("\n## ")[0]
    keys = set(section.model_fields) - (IN_SECTIONS_OF_THEIR_OWN if title == "[data]" else set())
    missing = {key for key in keys if f"`{key}`" not in text}
    assert not missing


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_names_no_key_that_does_not_exist(title: str) -> None:
    text = PAGE.partition(f"## `{title}`")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {key.strip(" `") for row in rows for key in row.split(",")}
    assert named <= set(SECTIONS[title].model_fields)
