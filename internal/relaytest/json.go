package relaytest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// ReadJSON reads an event in the JSON format of CloudEvents.
func ReadJSON(text []byte) (Delivery, error) {
	d := Delivery{Attributes: make(map[string]string)}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return d, err
	}
	data, encoded := members["data"], members["data_base64"]
	delete(members, "data")
	delete(members, "data_base64")
	for name, member := range members {
		var value string
		if err := json.Unmarshal(member, &value); err != nil {
			return d, fmt.Errorf("attribute %s: %w", name, err)
		}
		d.Attributes[name] = value
	}
	var value string
	switch {
	case encoded != nil:
		if err := json.Unmarshal(encoded, &value); err != nil {
			return d, err
		}
		decoded, err := base64.StdEncoding.DecodeString(value)
		d.Data = decoded
		return d, err
	case data == nil || strings.HasSuffix(d.Attributes["datacontenttype"], "json"):
		d.Data = data
		return d, nil
	}
	err := json.Unmarshal(data, &value)
	d.Data = []byte(value)
	return d, err
}
