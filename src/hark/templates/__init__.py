"""The words of messages: the sandbox that fills a reason's templates, and the frames that stand around them."""
