"""LangChain's OpenAI client: whole, streamed, structured, and with a tool."""

import sys

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Person(BaseModel):
    adult: bool


@tool
def light(on: bool) -> str:
    """Switch the light."""
    return str(on)


base_url, model = sys.argv[1:]
chat = ChatOpenAI(base_url=base_url, api_key="none", model=model, max_tokens=16, temperature=0)
whole = chat.invoke("Who are you?")
assert whole.usage_metadata and whole.usage_metadata["output_tokens"]
assert "".join(str(chunk.content) for chunk in chat.stream("Who are you?")) == whole.content
assert len(chat.batch(["One?", "Two?", "Three?"])) == 3
structured = chat.with_structured_output(Person, method="json_schema").invoke("Of age?")
assert isinstance(structured, Person)
called = chat.bind_tools([light], tool_choice="light").invoke("It is dark.", max_tokens=200)
assert called.tool_calls[0]["name"] == "light" and "on" in called.tool_calls[0]["args"]
print("ok")
