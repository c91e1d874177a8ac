from .beats import WordsPerPage as WordsPerPage, words_per_page as words_per_page
from .book import (
    Book as Book,
    BookCover as BookCover,
    BookEdit as BookEdit,
    BookPage as BookPage,
    Clearance as Clearance,
    Colophon as Colophon,
    Drawing as Drawing,
    PictureCandidate as PictureCandidate,
    Shot as Shot,
)
from .book_recorder import record_book as record_book
from .edit import BookEditor as BookEditor
from .illustrate import Illustrator as Illustrator
from .make import (
    BookProgress as BookProgress,
    finish_book as finish_book,
    make_book as make_book,
    plan_book as plan_book,
)
from .metrics import BookMetrics as BookMetrics, measure_book as measure_book
from .plan import BookPlan as BookPlan, Place as Place, PlannedPage as PlannedPage
from .plan_by_rules import plan_by_rules as plan_by_rules
from .plan_with_model import plan_with_model as plan_with_model
from .series import series_cast as series_cast
from .swap import swap_in_plan as swap_in_plan

__all__: list[str]
