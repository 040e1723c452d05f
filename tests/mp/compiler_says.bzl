"""compiler_says: what the compiler says of a source that does not compile, as a file."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _compiler_says_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    context = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps],
    ).compilation_context
    said = ctx.actions.declare_file(ctx.label.name + ".txt")
    flags = ["-std=c++20", "-fsyntax-only", "-w"]
    flags += ["-D" + define for define in context.defines.to_list()]
    for folder in (context.quote_includes.to_list() + context.includes.to_list() +
                   context.system_includes.to_list()):
        flags += ["-I", folder]
    ctx.actions.run_shell(
        outputs = [said],
        inputs = depset([ctx.file.src], transitive = [context.headers, toolchain.all_files]),
        # Where it compiles after all, that is what the file says.
        command = 'said=$1; shift; "$@" >$said 2>&1 && echo "it compiles" >$said; exit 0',
        arguments = [said.path, toolchain.compiler_executable] + flags + [ctx.file.src.path],
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([said]), runfiles = ctx.runfiles([said]))]

compiler_says = rule(
    implementation = _compiler_says_impl,
    attrs = {
        "src": attr.label(allow_single_file = True, mandatory = True),
        "deps": attr.label_list(providers = [CcInfo]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
