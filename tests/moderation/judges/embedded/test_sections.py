from hypothesis import given, strategies as st

from taleward.moderation.judges.embedded.sections import Section, split_into_sections


def test_a_section_repeats_the_end_of_the_one_before_it_as_context() -> None:
    assert split_into_sections([4, 4, 4, 4, 4], 12, 5) == [Section(0, 0, 3), Section(2, 3, 5)]


def test_a_sentence_that_is_too_long_has_a_section_of_its_own() -> None:
    assert split_into_sections([3, 30, 3], 12, 0) == [Section(0, 0, 1), Section(1, 1, 2), Section(2, 2, 3)]


@given(st.lists(st.integers(1, 40)), st.integers(1, 60), st.integers(0, 50))
def test_each_sentence_is_scored_once_and_no_section_is_too_long(lengths: list[int], limit: int, context: int) -> None:
    sections = split_into_sections(lengths, limit, context)
    assert [n for s in sections for n in range(s.start, s.end)] == list(range(len(lengths)))
    for first, start, end in sections:
        assert sum(lengths[first:start]) <= context
        assert sum(lengths[first:end]) <= limit or end == start + 1
