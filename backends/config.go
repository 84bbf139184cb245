package backends

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Config is a file that names stores, so that an application changes its backend
// by editing one line:
//
//	stores:
//	  orders:
//	    url: sqlite:orders.db
//	  billing:
//	    url: postgres://app:${BILLING_PASSWORD}@db.example.com/billing
//	  archive:
//	    url: ${file:/run/secrets/archive-url}
//
// ${NAME} is an environment variable and ${file:PATH} the text of a file without
// its last line break. Standing alone they are the URL; inside a URL they are
// percent-encoded, so a password may hold any character. Only the store that is
// opened needs its variables.
type Config struct {
	path   string
	stores map[string]entry
}

// entry is one named store, as written.
type entry struct {
	url  string
	line int
}

// ReadConfig reads a config file.
func ReadConfig(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer func() { _ = file.Close() }()
	return parseConfig(path, file)
}

// Names returns the names of the stores in alphabetical order.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.stores)) }

// URL returns a store's URL with its variables replaced. It may hold a
// credential: show it only by [Redact].
func (c *Config) URL(name string) (string, error) {
	store, ok := c.stores[name]
	if !ok {
		return "", c.invalid(0, "there is no store %q; it names %s", name, strings.Join(c.Names(), ", "))
	}
	expanded, err := expand(store.url)
	if err != nil {
		return "", c.invalid(store.line, "store %q: %s", name, err)
	}
	return expanded, nil
}

// reference is ${NAME} or ${file:PATH}; the last alternative finds typing errors.
var reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{file:([^}]+)\}|\$\{[^}]*\}?`)

func expand(text string) (string, error) {
	var failed error
	expanded := reference.ReplaceAllStringFunc(text, func(match string) string {
		value, err := resolve(match)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		if match == text {
			return value
		}
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	})
	return expanded, failed
}

func resolve(match string) (string, error) {
	groups := reference.FindStringSubmatch(match)
	switch name, path := groups[1], groups[2]; {
	case name != "":
		value, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		return value, nil
	case path != "":
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), nil
	}
	return "", errors.New("a ${…} is neither ${NAME} nor ${file:PATH}")
}

func (c *Config) invalid(line int, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	if line > 0 {
		reason = fmt.Sprintf("line %d: %s", line, reason)
	}
	return &eventstore.InvalidError{Field: "config " + c.path, Reason: reason}
}

// parseConfig walks the YAML nodes itself: the library's own errors on a wrong
// type quote the value, which may be a URL with its password.
func parseConfig(path string, r io.Reader) (*Config, error) {
	c := &Config{path: path, stores: make(map[string]entry)}
	var doc, more yaml.Node
	decoder := yaml.NewDecoder(r)
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, c.invalid(0, "it is empty; name a store under stores:")
	case err != nil && strings.Contains(err.Error(), "mapping values are not allowed"):
		return nil, c.invalid(0, `%s; a text with a colon at its end or before a space needs quotes: url: "memory:"`, err)
	case err != nil:
		return nil, c.invalid(0, "%s", err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, c.invalid(0, "it holds more than one document; keep the first")
	}
	err := c.fields(doc.Content[0], "the file", "stores", func(_ string, stores *yaml.Node) error {
		return c.fields(stores, "stores", "", func(name string, store *yaml.Node) error {
			found := entry{line: store.Line}
			err := c.fields(store, "a store", "url", func(_ string, value *yaml.Node) error {
				if value.Kind != yaml.ScalarNode || value.Value == "" {
					return c.invalid(value.Line, "url is not a text")
				}
				found = entry{url: value.Value, line: value.Line}
				return nil
			})
			if err == nil && found.url == "" {
				err = c.invalid(store.Line, "store %q has no url", name)
			}
			c.stores[name] = found
			return err
		})
	})
	if err == nil && len(c.stores) == 0 {
		err = c.invalid(0, "it names no store; add one under stores:")
	}
	return c, err
}

// fields calls visit for each field of a mapping. Where only is not empty, every
// other name is an error.
func (c *Config) fields(node *yaml.Node, what, only string, visit func(name string, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode {
		return c.invalid(node.Line, "%s is not a mapping of names to values", what)
	}
	seen := make(map[string]bool)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			return c.invalid(key.Line, "a name in %s is not a text", what)
		case only != "" && key.Value != only:
			return c.invalid(key.Line, "unknown field %q in %s; known is %s", key.Value, what, only)
		case seen[key.Value]:
			return c.invalid(key.Line, "%q occurs twice in %s", key.Value, what)
		}
		seen[key.Value] = true
		if err := visit(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}
