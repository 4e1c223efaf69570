"""The words of the Kubernetes API of CryptoAI: TradingBot v1alpha1, its CRD, its conditions.

Plans, the cluster client and handlers speak them. Pure: nothing here talks to a cluster.
"""
