"""The widget that shows a pure function's lines: what differs is repainted, and nothing else."""

from textual.app import App, ComposeResult

from tui.widgets.picture import Draw, Line, Picture


def saying(*words: str) -> Draw:
    def draw(width: int, height: int) -> list[Line]:
        return [[(word, "strong")] for word in words[:height]]

    return draw


class OnePicture(App[None]):
    CSS = "Picture { width: 12; height: 5; border: round white; }"

    def compose(self) -> ComposeResult:
        yield Picture(saying("one", "two", "three"))


def shown(app: App[None]) -> list[str]:
    return [strip.text.strip(" │") for strip in app.screen._compositor.render_strips()][1:4]


async def test_only_the_rows_that_differ_are_repainted_and_all_of_them_are() -> None:
    app = OnePicture()
    async with app.run_test() as pilot:
        await pilot.pause()
        assert shown(app) == ["one", "two", "three"]
        picture, asked = app.query_one(Picture), []
        refresh = picture.refresh

        def counted(*regions, **how):
            asked.extend(regions)
            return refresh(*regions, **how)

        picture.refresh = counted  # type: ignore[method-assign]
        picture.show(saying("one", "TWO", "three"))
        await pilot.pause()
        assert shown(app) == ["one", "TWO", "three"] and [region.y for region in asked] == [1]
        asked.clear()
        picture.show(saying("one", "TWO", "three"))
        assert asked == []
        picture.show(saying("one"))
        await pilot.pause()
        assert shown(app) == ["one", "", ""]


async def test_another_size_is_drawn_anew_and_a_theme_recolours() -> None:
    app = OnePicture()
    async with app.run_test() as pilot:
        await pilot.pause()
        picture = app.query_one(Picture)
        dark = picture._role("strong", picture.rich_style)
        picture.styles.height = 4
        picture.show(saying("a", "b", "c"))
        await pilot.pause()
        assert shown(app)[:2] == ["a", "b"] and picture.lines == ["a", "b"]
        app.theme = "textual-light"
        await pilot.pause()
        assert picture._role("strong", picture.rich_style).color != dark.color
