package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docs/events.md has each reason that the code gives an event, and no other. In the code they are the constants that are called
// event… or Event….
func TestEventsAreDocumented(t *testing.T) {
	root, _ := read(t)
	// The provisioner library has these.
	inCode := map[string]bool{"Provisioning": true, "ProvisioningSucceeded": true}
	for _, dir := range []string{"provisioner", "cmd/claimdir"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				err = eventReasons(path, inCode)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "events.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		for _, reason := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(row[1], -1) {
			documented[reason[1]] = true
		}
	}
	if len(inCode) < 15 {
		t.Errorf("found %d reasons in the code, which cannot be all", len(inCode))
	}
	for reason := range inCode {
		if !documented[reason] {
			t.Errorf("docs/events.md does not have %s", reason)
		}
	}
	for reason := range documented {
		if !inCode[reason] {
			t.Errorf("docs/events.md has %s, which no event of claimdir has", reason)
		}
	}
}

// eventReasons adds the reasons of a file.
func eventReasons(path string, to map[string]bool) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(node ast.Node) bool {
		value, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range value.Names {
			if !strings.HasPrefix(strings.ToLower(name.Name), "event") || i >= len(value.Values) {
				continue
			}
			if literal, ok := value.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if reason, unquoteErr := strconv.Unquote(literal.Value); unquoteErr == nil {
					to[reason] = true
				}
			}
		}
		return true
	})
	return err
}
