from .book import (
    Book as Book,
    BookCover as BookCover,
    BookEdit as BookEdit,
    BookPage as BookPage,
    Candidate as Candidate,
    Clearance as Clearance,
    Colophon as Colophon,
    Drawing as Drawing,
    Shot as Shot,
)

__all__: list[str]
