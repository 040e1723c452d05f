"""clang-tidy of each source, as an action: what has not changed is not looked at again.

    ./bazelw build --config=tidy //...

Of the tests only what they share: half of the sources would take half an hour, and the compilers
and sanitizers see them all.
"""

# A source of another package is tidied there; tests/model compiles the library's once more.
def _is_ours(label, source):
    return (label.workspace_name == "" and source.owner.package == label.package and
            source.extension == "cc" and not source.basename.endswith("_test.cc"))

def _includes(option, paths):
    return [word for path in paths for word in (option, path)]

def _all(contexts, attribute):
    return depset(transitive = [getattr(context, attribute) for context in contexts]).to_list()

def _tidy_impl(target, ctx):
    if not ctx.rule.kind.startswith("cc_"):
        return []
    contexts = [
        dep[CcInfo].compilation_context
        for dep in getattr(ctx.rule.attr, "deps", [])
        if CcInfo in dep
    ]
    if CcInfo in target:
        contexts.append(target[CcInfo].compilation_context)
    headers = [
        file
        for files in (getattr(ctx.rule.files, "hdrs", []), getattr(ctx.rule.files, "srcs", []))
        for file in files
    ]

    reports = []
    for source in getattr(ctx.rule.files, "srcs", []):
        if not _is_ours(ctx.label, source):
            continue
        report = ctx.actions.declare_file("%s.%s.tidy" % (ctx.label.name, source.basename))
        reports.append(report)
        ctx.actions.run_shell(
            mnemonic = "ClangTidy",
            progress_message = "Tidying " + source.short_path,
            inputs = depset(
                headers + ctx.files._config,
                transitive = [context.headers for context in contexts],
            ),
            outputs = [report],
            # What it says on stderr is how many warnings it did not show.
            command = 'report=$1; shift; clang-tidy "$@" 2>/dev/null && : >"$report"',
            arguments = [
                report.path,
                "--quiet",
                source.path,
                "--",
                "-std=c++20",
            ] + ["-D" + define for define in _all(contexts, "defines")] +
              _includes("-iquote", _all(contexts, "quote_includes")) +
              _includes("-isystem", _all(contexts, "includes") + _all(contexts, "system_includes")),
            use_default_shell_env = True,
        )
    return [OutputGroupInfo(tidy = depset(reports))]

tidy = aspect(
    implementation = _tidy_impl,
    attrs = {"_config": attr.label(default = "//:.clang-tidy", allow_single_file = True)},
)
