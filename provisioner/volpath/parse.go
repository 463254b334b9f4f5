package volpath

import (
	"errors"
	"fmt"
	"strings"
)

// maxDepth is how deep variables may be nested in fallbacks. It bounds the recursion of parser and expansion.
const maxDepth = 8

// spelling is one set of names for the variables.
type spelling struct {
	resolve  func(name string) (node, error) // errUnknown for an unknown name
	allowed  string                          // all names, for errors
	standard string                          // how this spelling writes DefaultPattern
}

var errUnknown = errors.New("unknown variable")

func subdirVariable(name string) (node, error) {
	switch name {
	case ".PVC.namespace":
		return node{field: namespaceField}, nil
	case ".PVC.name":
		return node{field: nameField}, nil
	case ".PVC.uid":
		return node{field: uidField}, nil
	case ".PV.name":
		return node{field: pvField}, nil
	}
	if key, ok := strings.CutPrefix(name, ".PVC.labels."); ok {
		return node{field: labelField, key: key}, checkKey(key)
	}
	if key, ok := strings.CutPrefix(name, ".PVC.annotations."); ok {
		return node{field: annotationField, key: key}, checkKey(key)
	}
	return node{}, errUnknown
}

func csiVariable(name string) (node, error) {
	switch name {
	case "pvc.metadata.namespace":
		return node{field: namespaceField}, nil
	case "pvc.metadata.name":
		return node{field: nameField}, nil
	case "pv.metadata.name":
		return node{field: pvField}, nil
	}
	return node{}, errUnknown
}

// checkKey refuses keys that no label or annotation can have, because such a variable would be empty for every claim.
func checkKey(key string) error {
	if key == "" {
		return errors.New("no key of a label or annotation in variable")
	}
	bad := strings.IndexFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
	})
	if bad >= 0 {
		return errors.New("impossible key (only letters, digits, '-', '_', '.' and '/' occur in one) in variable")
	}
	return nil
}

func compile(s string, words spelling) (Pattern, error) {
	p := parser{text: s, words: words}
	elements, err := p.pattern()
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %s: %w", quote(s), err)
	}
	return Pattern{text: s, elements: elements}, nil
}

// parser reads a pattern from left to right.
type parser struct {
	text  string
	pos   int // bytes
	words spelling
}

func (p *parser) pattern() ([]element, error) {
	switch {
	case p.text == "":
		return nil, fmt.Errorf("empty; a path relative to the share is needed, with the variables %s", p.words.allowed)
	case len(p.text) > MaxPath:
		return nil, fmt.Errorf("%d bytes long; at most %d are allowed", len(p.text), MaxPath)
	}
	if err := checkText(p.text); err != nil {
		return nil, err
	}
	var elements []element
	for ; p.pos < len(p.text); p.pos++ { // skip the slash after each element
		e, err := p.element()
		if err != nil {
			return nil, err
		}
		if len(e) > 0 && !isDot(e) {
			elements = append(elements, e)
		}
	}
	if len(elements) == 0 {
		return nil, fmt.Errorf("the root of the share itself; a directory below it is needed, with the variables %s", p.words.allowed)
	}
	return elements, checkFirst(elements[0])
}

func isDot(e element) bool { return len(e) == 1 && e[0].field == noField && e[0].literal == "." }

func (p *parser) element() (element, error) {
	start := p.pos
	nodes, err := p.nodes('/', 0)
	if err != nil {
		return nil, err
	}
	if p.text[start:p.pos] == p.words.standard {
		return element{{field: defaultField}}, nil
	}
	if isDot(nodes) {
		return nodes, nil
	}
	return nodes, checkLiterals(nodes)
}

// nodes reads up to end, which it does not consume, or to the end of the text.
func (p *parser) nodes(end byte, depth int) ([]node, error) {
	var nodes []node
	start := p.pos
	flush := func() {
		if start < p.pos {
			nodes = append(nodes, node{literal: p.text[start:p.pos]})
		}
	}
	for p.pos < len(p.text) && p.text[p.pos] != end {
		if !strings.HasPrefix(p.text[p.pos:], "${") {
			if char := p.text[p.pos]; strings.IndexByte(`$\{}`, char) >= 0 {
				return nil, p.leftOver(char)
			}
			p.pos++
			continue
		}
		flush()
		n, err := p.variable(depth + 1)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		start = p.pos
	}
	flush()
	return nodes, nil
}

// variable reads "${name}" or "${name:-fallback}".
func (p *parser) variable(depth int) (node, error) {
	if depth > maxDepth {
		return node{}, fmt.Errorf("fallbacks are nested too deep; at most %d variables inside one another are allowed", maxDepth)
	}
	start := p.pos
	name := p.name()
	if p.pos == len(p.text) || strings.Contains(name, "${") {
		return node{}, p.unterminated(start)
	}
	n, err := p.words.resolve(name)
	if err != nil {
		return node{}, fmt.Errorf("%w %s; allowed are %s", err, quote("${"+name+"}"), p.words.allowed)
	}
	if p.text[p.pos] == ':' {
		p.pos += len(":-")
		if n.fallback, err = p.nodes('}', depth); err != nil {
			return node{}, err
		}
		if p.pos == len(p.text) {
			return node{}, p.unterminated(start)
		}
	}
	p.pos++ // skip the brace
	return n, nil
}

// name reads up to "}" or ":-" or, if there is neither, to the end of the text.
func (p *parser) name() string {
	p.pos += len("${")
	rest := p.text[p.pos:]
	end := len(rest)
	for _, stop := range []string{"}", ":-"} {
		if i := strings.Index(rest[:end], stop); i >= 0 {
			end = i
		}
	}
	p.pos += end
	return rest[:end]
}

// leftOver refuses a character that only a template that nobody expanded has, or a variable in another spelling.
func (p *parser) leftOver(char byte) error {
	return fmt.Errorf("%q outside of a variable in %s; allowed are the variables %s", char, quote(p.text[p.pos:]), p.words.allowed)
}

func (p *parser) unterminated(start int) error {
	return fmt.Errorf(`variable %s is not closed by "}"; allowed are %s`, quote(p.text[start:]), p.words.allowed)
}

// checkLiterals refuses an element that is invalid for every value of its variables.
func checkLiterals(nodes []node) error {
	if len(nodes) > 0 && strings.TrimLeft(nodes[0].literal, " ") != nodes[0].literal {
		return errBlank(nodes[0].literal)
	}
	if last := len(nodes) - 1; last >= 0 && strings.TrimRight(nodes[last].literal, " ") != nodes[last].literal {
		return errBlank(nodes[last].literal)
	}
	for _, n := range nodes {
		if len(n.literal) > MaxElement || len(nodes) == 1 && n.field == noField {
			if err := checkElement(n.literal); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFirst refuses a first element that begins with a reserved name whatever the values are.
func checkFirst(e element) error {
	whole := len(e) == 1
	if text := e[0].literal; reservedPrefix(text) || whole && reserved(text) {
		return errReserved()
	}
	return nil
}
