"""Models of one's own: of an async function, and of a class that streams."""

import attrs

import lmflow as lf
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send


async def shout(request: ChatRequest) -> str:
    """Answer with the last message in capitals: put the call of your client here."""
    return request.messages[-1].content.upper()


SHOUT = lf.function_model("mine/shout", shout)


@attrs.frozen
class Phrasebook:
    """A model that looks its answers up, and gives them word by word to whoever listens."""

    phrases: dict[str, str]
    name: str = "mine/phrasebook"
    endpoint: str = "this process"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Answer a request. All that it does to answer it is in the exchange, which is recorded."""

        async def exchange(http: Http) -> ChatReply:
            if not isinstance(request, ChatRequest):
                raise lf.errors.ModelFailed("request", "the phrasebook has no vectors")
            text = request.messages[-1].content
            reply = next((say for word, say in self.phrases.items() if word in text), "I see.")
            if http.hear is None:
                return ChatReply(reply, model=self.name)
            pieces = [f"{word} " for word in reply.split()[:-1]] + reply.split()[-1:]
            for piece in pieces:
                http.hear(piece)
            return ChatReply(reply, model=self.name, chunks=tuple(map(len, pieces)))

        return await send(exchange)

    async def aclose(self) -> None:
        """Let go of connections: this one has none."""


PHRASES = Phrasebook({"tea": "Two minutes at 80 degrees.", "rice": "Twelve minutes."})


if __name__ == "__main__":
    lf.testing.check_model(SHOUT)
    lf.testing.check_model(PHRASES)
    answer = lf.predict("answer", "question -> answer")
    print(dict(lf.run(answer, model=PHRASES, question="How long is tea steeped?").outputs or {}))
