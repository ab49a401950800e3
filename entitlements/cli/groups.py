"""A group of commands that says what was meant where a line names none of them, or an option too early."""

from __future__ import annotations

import click

from ..errors import did_you_mean, shown


class Group(click.Group):
    """A group of commands; a line it cannot understand is told with the command or the place that was meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command; fail with the place of an option that belongs behind it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            taking = [name for name in self.list_commands(ctx) if self._takes(ctx, name, error.option_name)]
            if not taking:
                raise
            where = f"write it after the command, as in: {ctx.command_path} {taking[0]} … {error.option_name}"
            raise click.UsageError(f"{error.option_name} is an option of a command; {where}", ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that a line names; fail with the one it may have meant."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            hint = did_you_mean(args[0], names) or f"; there are {', '.join(names)}"
            ctx.fail(f"there is no command {shown(args[0])}{hint}")
        return super().resolve_command(ctx, args)

    def _takes(self, ctx: click.Context, name: str, option: str) -> bool:
        command = self.get_command(ctx, name)
        return command is not None and any(option in parameter.opts for parameter in command.params)
