package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/printable"
)

func newHandlers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "handlers list | show NAME | check FILE.o... | helpers",
		Short: "List built-in handlers, show their programs, verify those in object files",
		Long: `Handlers are what runs at a hit instead of a stop: small programs that are
verified before they run, in the form of eBPF. In front of any of them there can
be conditions and limits: --filter, --every, --rate, --limit, --for.`,
		Example: `  ptracer handlers list
  ptracer handlers show hist
  ptracer handlers check probe.o
  ptracer handlers helpers`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the built-in handlers", Args: cobra.NoArgs,
		RunE: verb(func(cmd *cobra.Command, _ []string) error { return listHandlers(cmd.OutOrStdout(), asJSON) }),
	}
	list.Flags().BoolVar(&asJSON, "json", false, "write one JSON object a line")
	show := &cobra.Command{
		Use: "show NAME", Short: "Show a built-in handler's program and maps", Args: cobra.ExactArgs(1),
		RunE: verb(func(cmd *cobra.Command, args []string) error { return showHandler(cmd.OutOrStdout(), args[0]) }),
	}
	check := &cobra.Command{
		Use: "check FILE.o...", Short: "Verify the programs of object files (clang -target bpf)", Args: cobra.MinimumNArgs(1),
		RunE: verb(func(cmd *cobra.Command, args []string) error { return checkObjects(cmd.OutOrStdout(), args) }),
	}
	helpers := &cobra.Command{
		Use: "helpers", Short: "List what handlers can call, and where", Args: cobra.NoArgs,
		RunE: verb(func(cmd *cobra.Command, _ []string) error { return listHelpers(cmd.OutOrStdout()) }),
	}
	cmd.AddCommand(list, show, check, helpers)
	return cmd
}

// listHelpers lists the functions that handlers can call.
func listHelpers(w io.Writer) error {
	cells := [][]string{{"NUMBER", "HELPER", "ENGINE", "KERNEL", "NEEDS"}}
	yes := map[bool]string{true: "yes", false: "-"}
	for _, num := range slices.Sorted(maps.Keys(program.Helpers)) {
		h := program.Helpers[num]
		cells = append(cells, []string{fmt.Sprint(num), h.Name, yes[h.Engine], yes[h.Kernel], show.OrDash(strings.Join(rights(h.Needs), ", "))})
	}
	return show.WriteTable(w, cells, 0)
}

// handlerLine is a handler in JSON.
type handlerLine struct {
	Name  string   `json:"name"`
	Doc   string   `json:"doc"`
	Mode  string   `json:"mode"`
	Needs []string `json:"needs"`
}

func listHandlers(w io.Writer, asJSON bool) error {
	var lines []handlerLine
	cells := [][]string{{"NAME", "MODE", "NEEDS", "WHAT IT TELLS"}}
	for _, i := range handler.New().List() {
		needs := rights(i.Needs)
		lines = append(lines, handlerLine{i.Name, i.Doc, i.Mode.String(), needs})
		cells = append(cells, []string{i.Name, i.Mode.String(), show.OrDash(strings.Join(needs, ", ")), i.Doc})
	}
	if asJSON {
		return show.WriteJSON(w, lines)
	}
	return show.WriteTable(w, cells, -1)
}

func rights(r program.Rights) []string {
	names := []string{}
	for i, n := range []string{"read memory", "write memory", "change registers"} {
		if r>>i&1 != 0 {
			names = append(names, n)
		}
	}
	return names
}

// showHandler shows what a handler is made of, as it is without parameters.
func showHandler(w io.Writer, name string) error {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		return err
	}
	var names []string
	for _, k := range builtin.Kinds {
		if names = append(names, k.Name); k.Name != name {
			continue
		}
		h, err := k.Make(ctx, builtin.Params{})
		if err != nil { // it wants an expression
			h, err = k.Make(ctx, builtin.Params{Exprs: []string{"arg0"}})
		}
		if err != nil {
			return err
		}
		if err := printable.Printf(w, "%s: %s", k.Name, k.Doc); err != nil {
			return err
		}
		return describe(w, h, func(p *program.Program) error { return p.WriteText(w) })
	}
	return exit.Usage("no handler is called %q: there are %s", name, strings.Join(names, ", "))
}

// describe tells of a handler's programs and maps.
func describe(w io.Writer, h *build.Handler, more func(*program.Program) error) error {
	for _, at := range []build.Point{build.Entry, build.Exit} {
		p := h.At(at)
		if p == nil {
			continue
		}
		if err := verified(w, "at the "+at.String(), p, h.Context); err != nil {
			return err
		}
		if err := more(p); err != nil {
			return err
		}
	}
	return describeMaps(w, h.Maps())
}

func describeMaps(w io.Writer, maps []program.Map) error {
	cells := [][]string{{"MAP", "TYPE", "KEY", "VALUE", "ENTRIES"}}
	for _, m := range maps {
		cells = append(cells, []string{m.Name, m.Type.String(), fmt.Sprint(m.KeySize), fmt.Sprint(m.ValueSize), fmt.Sprint(m.MaxEntries)})
	}
	if len(cells) == 1 {
		return nil
	}
	return show.WriteTable(w, cells, -1)
}

// verified verifies a program and says what is known about it.
func verified(w io.Writer, where string, p *program.Program, ctx program.Context) error {
	r, err := verify.Check(p, verify.Options{Context: ctx, Rights: program.ReadMemory | program.WriteMemory | program.Override})
	if err != nil {
		return err
	}
	stack := 0
	for _, n := range r.Stack {
		stack = max(stack, n)
	}
	return printable.Printf(w, "%s, %s: %s, a run takes %d at the most, %d bytes of stack; needs: %s", p.Name, where,
		show.Plural(len(p.Insns), "instruction"), r.Steps, stack, show.OrDash(strings.Join(rights(r.Needs), ", ")))
}

// loadObject reads the programs of an object file.
func loadObject(path string) ([]*program.Program, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	programs, err := program.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return programs, nil
}

// checkObjects verifies all programs, and says of each what is wrong.
func checkObjects(w io.Writer, paths []string) error {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		programs, err := loadObject(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range programs {
			if err := verified(w, "SEC("+p.Section+")", p, ctx); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
			}
		}
		if err := describeMaps(w, programs[0].Maps); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
