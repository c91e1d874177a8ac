"""A story with its picture as a page: `python examples/picture_story.py "a fox who finds a key" --out fox.html`.

This is an ordinary program for OpenAI's API that knows nothing of Taleward. What makes it safe for children is the URL:
behind it is `taleward serve`, which sends only what was judged.
"""

from __future__ import annotations

import argparse
from html import escape
from pathlib import Path

import openai

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ max-width: 40em; margin: 2em auto; padding: 0 1em; font: 1.2em/1.6 Georgia, serif }}
img {{ width: 100%; border-radius: 12px }}</style></head>
<body>{picture}{paragraphs}</body></html>
"""
REFUSED = ("content_filter", "moderation_blocked")
"""The codes of a request that the server turns down; the message is for the child."""


def tell(client: openai.OpenAI, idea: str, model: str) -> tuple[str, bool]:
    """Return a story and True, or kind words and False if there is none."""
    ask = f"a story about {idea}"
    try:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": ask}])
    except openai.BadRequestError as error:
        if error.code not in REFUSED:
            raise
        return message_of(error), False
    message = answer.choices[0].message
    return (message.content, True) if message.content else (message.refusal or "There is no story.", False)


def draw(client: openai.OpenAI, idea: str) -> str:
    """Return a picture as HTML; nothing if the server would rather not draw it."""
    try:
        answer = client.images.generate(prompt=f"{idea}, watercolor", size="1536x1024", output_format="webp")
    except openai.BadRequestError as error:
        if error.code not in REFUSED:
            raise
        return ""
    if not answer.data:
        return ""
    picture = answer.data[0]
    # Servers that do not describe their pictures have no such field.
    description = (picture.model_extra or {}).get("taleward", {}).get("alt_text", idea)
    return f'<img alt="{escape(description)}" src="data:image/webp;base64,{picture.b64_json}">'


def make_page(client: openai.OpenAI, idea: str, model: str = "tales") -> str:
    """Return the page; without a story it has kind words and no picture."""
    text, is_story = tell(client, idea, model)
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in text.split("\n") if part.strip())
    return PAGE.format(title=escape(idea), picture=draw(client, idea) if is_story else "", paragraphs=paragraphs)


def message_of(error: openai.APIStatusError) -> str:
    """Return the server's words without the client's prefix."""
    return str(error.body["message"]) if isinstance(error.body, dict) else "Shall we try another idea?"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make a page with a story and its picture.")
    parser.add_argument("idea", help="what the story is about, such as 'a fox who finds a key'")
    parser.add_argument("--server", default="http://127.0.0.1:8000/v1", help="URL of the server")
    parser.add_argument("--model", default="tales", help="served model, such as kids-3-5")
    parser.add_argument("--out", type=Path, default=Path("story.html"), help="file of the page")
    args = parser.parse_args()
    client = openai.OpenAI(base_url=args.server, api_key="none")
    args.out.write_text(make_page(client, args.idea, args.model), encoding="utf-8")
    print(f"{args.out} is ready.")


if __name__ == "__main__":
    main()
